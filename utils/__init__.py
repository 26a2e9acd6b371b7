"""Services that know nothing about hands: errors, safe files, trusted loading, rendering."""
