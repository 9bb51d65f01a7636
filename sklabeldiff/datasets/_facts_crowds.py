"""Facts of the sets that come with the answers of a crowd."""

from __future__ import annotations

from sklabeldiff.datasets._facts import GITHUB, DataSet, under

_CROWDS = (
    f"{GITHUB}/fmenat/PyLearningCrowds/0edf617d0357a43b48dc53f10f4181ec0163d4db/data"
)
_MUSIC = (
    f"{GITHUB}/shahanaibrahimosu/end-to-end-crowdsourcing/"
    "7653680c475ba8faa5d4a7b104b42a2a5204cef9/data/Music"
)
_RODRIGUES_2013 = (
    'F. Rodrigues, F. Pereira, B. Ribeiro, "Learning from multiple annotators: '
    'distinguishing good from random labelers", Pattern Recognition Letters 34, 2013.'
)

CROWDS: dict[str, DataSet] = {
    "labelme": DataSet(
        title="LabelMe",
        function="fetch_labelme",
        labels="crowd answers",
        rows={"train": 1000, "valid": 500, "test": 1188},
        n_features=512,
        n_classes=8,
        licence="none stated",
        citation='F. Rodrigues, F. Pereira, "Deep Learning from Crowds", AAAI 2018.',
        home_page="http://fprodrigues.com/publications/deep-crowds/",
        files=under(
            f"{_CROWDS}/LabelMe",
            (
                "LabelMe_VGG_avg_train.npy",
                "0ddfbcbd722aab70e81525a459cc37d47c1d344322b401ee35a3e9b158a209e8",
                2_048_128,
            ),
            (
                "LabelMe_VGG_avg_valid.npy",
                "cb80ce99ef9fc80c666e6b9c43259ee0aac4e0cf82f8ac654b8bb309fb28953d",
                1_024_128,
            ),
            (
                "LabelMe_VGG_avg_test.npy",
                "af407538f702f98e775f233652152cdcb58583c9d4668492308151c126ce7873",
                2_433_152,
            ),
            (
                "LabelMe_Z_train.txt",
                "229556bdc5da327dd7d4e4154ba180969091c83f43cf8cbee3727131c5a062f6",
                2_000,
            ),
            (
                "LabelMe_Z_valid.txt",
                "40aba43f903a539b38243c411e214da1f8c696cc47aa59811cc3388cc6899892",
                1_000,
            ),
            (
                "LabelMe_Z_test.txt",
                "6d508b638d41fa84b2628615270456df96a49dce18054d201ac6261b03ea77bc",
                2_376,
            ),
            (
                "answers.txt",
                "354c282e10835a59962494acb1d180fe997b65a0aa1e27f870cdb4ef51ef3e2b",
                174_453,
            ),
        ),
        folders=("crowd/labelme", "labelme"),
        by_hand="The files are in the folder data/LabelMe of the repository "
        "fmenat/PyLearningCrowds.",
        note="The authors' archive deep_LabelMe.tar.gz holds the photographs; these "
        "are their VGG-16 features, averaged over the image. Downloads come from the "
        "repository fmenat/PyLearningCrowds, pinned to one commit.",
        target_names=(
            *("highway", "insidecity", "tallbuilding", "street"),
            *("forest", "coast", "mountain", "opencountry"),
        ),
    ),
    "sentiment": DataSet(
        title="Sentiment polarity",
        function="fetch_sentiment",
        labels="crowd answers",
        rows={"train": 4999, "test": 3999},
        n_features=None,
        n_classes=2,
        licence="none stated",
        citation=_RODRIGUES_2013
        + ' Sentences: B. Pang, L. Lee, "Seeing stars", ACL 2005.',
        home_page="http://fprodrigues.com",
        files=under(
            f"{_CROWDS}/Sentiment",
            (
                "Sentiment_text_train.txt",
                "bec8026c384e895f48c18e728519aa4dd3f4a362da656623e15d40470def716d",
                580_840,
            ),
            (
                "Sentiment_text_test.txt",
                "2da4301784fc621df456c7ece19b1a7f9df2d0735a81d32ffb6f04ebaaf094cd",
                201_275,
            ),
            (
                "Sentiment_Z_train.txt",
                "623ca5a651273e491bbdc39e8a49909323c15df20468780db1b26dd520ed399c",
                9_998,
            ),
            (
                "Sentiment_Z_test.txt",
                "261d1edd1bfe337c1d3d62f0df28cedc679e00bce9d6b53f46aa8cce7374b0fd",
                7_998,
            ),
            (
                "answers.txt",
                "fb39e4103f326a2798e5a6b7eeb1840beceb2e826a619cc19089c6a24041f82a",
                3_016_645,
            ),
        ),
        folders=("crowd/sentiment", "sentiment", "crowd"),
        by_hand="The files are in the folder data/Sentiment of the repository "
        "fmenat/PyLearningCrowds.",
        note="The authors' archive mturk-datasets.tar.gz cannot be read to its end and "
        "has no test sentences. Downloads come from the repository "
        "fmenat/PyLearningCrowds, pinned to one commit, which took its clean test "
        "phrases from a competition on film reviews of Rotten Tomatoes.",
        target_names=("negative", "positive"),
    ),
    "music_genre": DataSet(
        title="Music genre",
        function="fetch_music_genre",
        labels="crowd answers",
        rows={"train": 700, "test": 300},
        n_features=124,
        n_classes=10,
        licence="none stated",
        citation=_RODRIGUES_2013,
        home_page="http://fprodrigues.com",
        files=under(
            _MUSIC,
            (
                "music_genre_gold.csv",
                "28cd73e9bf555e5847de0b0fc4c4998264d4a272d657c452edf2c93c206bda64",
                802_222,
            ),
            (
                "music_genre_test.csv",
                "952b423483bef4e0aa38b628815232b600a745d028fc8dfe8addd49e616931b8",
                344_469,
            ),
            (
                "mturk_answers.csv",
                "07c7485ca27f7a0ab69e4dd014d329644a495e4dda498970b65ed1a173f0606a",
                128_731,
            ),
        ),
        folders=("crowd/music_genre", "music_genre", "music_genre_classification"),
        by_hand="The files are in the folder music_genre_classification of the archive "
        "http://fprodrigues.com/mturk-datasets.tar.gz, which tar unpacks although it "
        "complains about the archive's end.",
        note="Downloads come from a copy on GitHub of the files of the authors' "
        "archive, pinned to one commit: the archive cannot be read to its end.",
        target_names=tuple(
            "blues classical country disco hiphop jazz metal pop reggae rock".split()
        ),
    ),
}
