"""The page that explains a log in a browser: this engine in WebAssembly; nothing is uploaded."""
