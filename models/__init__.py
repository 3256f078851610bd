"""What a triage model is, and the models (AI models, never ORM models)."""
