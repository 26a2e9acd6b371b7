"""The network that sees its own error: it corrects a copy, is shown what is still wrong, and corrects again."""
