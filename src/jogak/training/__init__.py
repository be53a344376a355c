"""Teaching a model a character or a style: the data set and what is wrong with it, then the training itself."""
