"""What the source papers claim, one file per paper, and how a claim is tested: its rule is written before any run."""
