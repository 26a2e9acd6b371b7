"""What is behind `python -m run.view`: hands, motions, retargeting in pieces, and the page that shows them."""
