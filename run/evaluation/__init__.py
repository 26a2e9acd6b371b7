"""Methods beside each other on test hands: their line-up, scores, statistics, tables and plots."""
