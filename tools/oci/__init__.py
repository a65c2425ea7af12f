"""Container images of our services, made from the baked base image: nothing from outside, the same bytes every time."""
