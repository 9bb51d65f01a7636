"""Facts of the partial-label tables that the PALM Lab collects."""

from __future__ import annotations

from sklabeldiff.datasets._facts import GITHUB, DataSet, RemoteFile

_PALM_PAGE = "https://palm.seu.edu.cn/zhangml/Resources.htm#partial_data"
_PALM_LICENCE = "academic purpose only (PALM Lab)"
_PALM_COPY = (
    f"{GITHUB}/pruirui/partial_label_realworld_dataset/"
    "a43c823f1cf2575e7fc74bcdfc307463e0bd44bd"
)


def _palm(
    title: str,
    file: RemoteFile,
    archive: str,
    shape: tuple[int, int, int],
    citation: str,
) -> DataSet:
    """Facts of a set of the PALM Lab; shape is rows, features, classes."""
    return DataSet(
        title=title,
        function="fetch_pll",
        labels="candidate sets",
        rows={"train": shape[0]},
        n_features=shape[1],
        n_classes=shape[2],
        licence=_PALM_LICENCE,
        citation=citation,
        home_page=_PALM_PAGE,
        files=(file,),
        folders=("pll", "", "controlled", "pll/controlled"),
        by_hand=f"The home page {_PALM_PAGE} offers {archive}: unpack it, which for "
        f".rar files needs a program such as unar, and keep {file.name}.",
        note="Downloads come from a copy on GitHub, pinned to one commit: the home "
        "page offers archives, most of them .rar, without checksums.",
    )


def _palm_file(name: str, hash: str, size: int | None = None) -> RemoteFile:
    url = f"{_PALM_COPY}/{name.replace(' ', '%20')}"
    return RemoteFile(name, (url,), hash, size)


TABLES: dict[str, DataSet] = {
    "lost": _palm(
        "Lost",
        _palm_file(
            "lost.mat",
            "sha256:42a8cc43e05578087e7b8ca194647829ec535dc4d0a86cf47f357c5eb3146e4f",
            936_096,
        ),
        "lost.rar",
        (1122, 108, 16),
        'T. Cour, B. Sapp, B. Taskar, "Learning from Partial Labels", JMLR 12, 2011.',
    ),
    "msrcv2": _palm(
        "MSRCv2",
        _palm_file(
            "MSRCv2.mat",
            "sha256:948e4d443a5450308f05aa689bc82d9bcc7af699a113a6a81c40ef337a20c393",
            381_088,
        ),
        "MSRCv2.rar",
        (1758, 48, 23),
        'L. Liu, T. Dietterich, "A Conditional Multinomial Mixture Model for Superset '
        'Label Learning", NIPS 2012.',
    ),
    "birdsong": _palm(
        "BirdSong",
        _palm_file(
            "BirdSong.mat",
            "sha256:2170d46765a151ac80623d9a1242e0299802236e5574442bdb596bef90f50743",
            1_052_915,
        ),
        "BirdSong.rar",
        (4998, 38, 13),
        'F. Briggs, X. Fern, R. Raich, "Rank-Loss Support Instance Machines for MIML '
        'Instance Annotation", KDD 2012.',
    ),
    "soccer_player": _palm(
        "Soccer Player",
        _palm_file("Soccer Player.mat", "git:3372e7350e06eba374c715e07fbd18e2555e00ec"),
        "SoccerPlayer.rar",
        (17472, 279, 171),
        'Z. Zeng, S. Xiao, K. Jia, T.-H. Chan, S. Gao, D. Xu, Y. Ma, "Learning by '
        'Associating Ambiguously Labeled Images", CVPR 2013.',
    ),
    "yahoo_news": _palm(
        "Yahoo! News",
        _palm_file("Yahoo! News.mat", "git:c9c3c35a6562ece4dffca8e7997c4c9cdcd12354"),
        "Yahoo!News.rar",
        (22991, 163, 219),
        'M. Guillaumin, J. Verbeek, C. Schmid, "Multiple Instance Metric Learning from '
        'Automatically Labeled Bags of Faces", ECCV 2010.',
    ),
    "mirflickr": _palm(
        "Mirflickr",
        _palm_file("Mirflickr.mat", "git:4e35e2ac7d16120722a2f2ec6e7baa99138ddbd0"),
        "Mirflickr.zip",
        (2780, 1536, 14),
        'M. J. Huiskes, M. S. Lew, "The MIR Flickr Retrieval Evaluation", MIR 2008.',
    ),
}
