"""The values of the data model: rows, versions, contexts and their arithmetic. Nothing here keeps state of a member."""
