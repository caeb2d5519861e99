"""What somebody who means harm would send: made up here, of no use to anybody else."""
