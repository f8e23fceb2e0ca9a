"""The kinds of servicedb.io, one file a kind: typed models, from which `crds/*.yaml` are generated.

strings     bounded strings: names, durations, words
schema      what a CRD knows and pydantic has no word for: rules in CEL, list types, printer columns
common      what the kinds share: metadata, references, conditions
crd         the generator
"""
