"""The settings of text and vocabulary, a file each."""

from birdbone.pipelines.seed.settings.text import TextSettings
from birdbone.pipelines.seed.settings.vocabulary import VocabularySettings

SETTINGS = {"text": TextSettings, "vocabulary": VocabularySettings}
