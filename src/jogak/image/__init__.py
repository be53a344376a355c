"""Pictures: the prompt language, drawing, what a PNG says of itself, pictures from outside."""
