"""What the source papers claim, one file a claim: ``claim()`` returns the record, with its rule written before any run."""
