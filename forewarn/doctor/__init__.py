"""What `forewarn doctor` looks at: this computer, and all that a settings file leads to."""
