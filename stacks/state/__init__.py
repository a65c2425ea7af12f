"""The operator's copy of the Pulumi state: read it, protect it, back it up and restore it.

The state holds the keys and passwords that are in use. A lost or damaged state would lock the operator out of the
hosts. So each checkpoint has a local backup, and the operations hosts hold a backup of the whole state, encrypted.

state_files, passphrase           paths of the files, and the passphrase that decrypts the secrets
checkpoints                       read a checkpoint, find a truncated one, repair it from a backup
store                             resources of a stack; which instance of the estate the state belongs to
lock, disk_reserve                one change at a time; disk space reserved for the last write of a run
state_backup, lineage, restore    backups on the operations hosts, which one is newer, and how to restore one
"""
