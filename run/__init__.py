"""Entry points: one thin file for each command. Nothing imports from here but the commands themselves."""
