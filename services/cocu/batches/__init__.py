"""The batch stream: samples in the order of an epoch, each with the concepts drawn for it."""
