"""Which tokens are trained: proven for a template, planned for a shape of conversation, made for each conversation."""
