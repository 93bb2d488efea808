"""A door that opens for a dog and never for a cat; README.md says how it is used."""
