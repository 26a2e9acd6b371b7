"""What is behind the commands that find axes: the annotation page, reports and pictures."""
