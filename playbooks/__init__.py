"""From estate to Ansible: rendering in pure Python, the roles, and the only caller of ansible-runner."""
