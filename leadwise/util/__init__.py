"""Help without any knowledge of ECGs: atomic files, progress, memory, text. Belongs here: what imports no Leadwise."""
