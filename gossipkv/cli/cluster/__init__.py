"""The commands about the members of a cluster, and the data that members have set aside."""
