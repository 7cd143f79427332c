"""Two runs side by side: which cells differ and by how much, and under what circumstances each was made."""
