"""The console: web pages and a JSON API over what the cloud knows of the plant."""
