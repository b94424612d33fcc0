"""Which labels of a data set are wrong, how many, and in what way: found without knowing the true ones."""
