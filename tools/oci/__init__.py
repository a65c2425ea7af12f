"""Container images of our services. They are built from the base image only, and every build gives the same bytes."""
