"""Every resource goes through the cycle of a tool that plans, as Terraform does."""
