"""`gpubn site` for a checkout."""

from gpubn.commands import run_command

if __name__ == "__main__":
    run_command("site")
