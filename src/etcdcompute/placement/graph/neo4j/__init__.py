"""The graph in Neo4j: every operation Cypher with parameters, decided by the same code as in the embedded store."""
