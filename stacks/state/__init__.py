"""The operator's copy of the Pulumi state: read it, protect it, back it up and restore it.

The state holds the keys and passwords that are in use. A lost or damaged state would lock the operator out of the
hosts. So each checkpoint has a local backup, and the operations hosts hold a backup of the whole state, encrypted.

files, passphrase                 where the files are, and the passphrase that decrypts the secrets
checkpoints                       read a checkpoint, find a truncated one, repair it from a backup
store                             resources of a stack; which instance of the estate the state belongs to
lock, disk_reserve                one change at a time; free disk space that a run keeps for its last write
state_backup, lineage, restore    backups on the operations hosts, which one is newer, and the way back
"""
