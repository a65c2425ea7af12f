"""Estate to Ansible: rendering in pure Python, roles, and the one caller of ansible-runner."""
