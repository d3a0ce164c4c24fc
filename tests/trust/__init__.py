"""The gallery: broken defences and honest models that the trust levels are tried on."""
