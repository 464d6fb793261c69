"""How well masks agree with the truth: overlap, surfaces and volumes per structure, with patient-level intervals."""
