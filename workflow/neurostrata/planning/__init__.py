"""What the rule files need to plan jobs: settings, inputs, resources and results.

Standard library, PyYAML and jsonschema only: used while the workflow is parsed.
"""
