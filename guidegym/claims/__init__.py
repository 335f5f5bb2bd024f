"""Claims of the source papers, one file per paper, and their tests: each rule is written before any run."""
