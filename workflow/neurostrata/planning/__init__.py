"""What the rule files need to plan. Standard library, PyYAML and jsonschema only: used while the workflow is parsed."""
