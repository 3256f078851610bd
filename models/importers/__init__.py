"""Brings foreign models in: fetched with a pinned digest, converted in a jail, written as safetensors or ONNX."""
