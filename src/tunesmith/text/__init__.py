"""Texts compared with texts: words, n-grams and near-duplicates."""
