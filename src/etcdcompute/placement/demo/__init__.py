"""The examples of Ed Leafe's posts on Placement as a graph, to run on any store and, as he has them, on Neo4j."""
