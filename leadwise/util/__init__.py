"""General helpers without any knowledge of ECGs: atomic files, progress, memory, text. Imports nothing of Leadwise."""
