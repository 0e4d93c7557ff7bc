"""ViT-GPT2, the model that ships: delete this folder when you replace the model."""
