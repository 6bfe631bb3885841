"""What studies share: settings, cached steps, the command line, and reports from templates."""

from studies.kit.options import Preset, Setting
from studies.kit.settings import Settings
from studies.kit.study import Study
from studies.kit.workspace import Apart, Workspace
from studies.kit.writing import Picture

__all__ = ["Apart", "Picture", "Preset", "Setting", "Settings", "Study", "Workspace"]
