"""Facts of the image sets, and of the labels that people gave to their images."""

from __future__ import annotations

from sklabeldiff.datasets._facts import GITHUB, DataSet, RemoteFile, under

_CIFAR_N = (
    f"{GITHUB}/UCSC-REAL/cifar-10-100n/49df7d8a69e355470c77c1c2f2424916325a394b/data"
)
_CIFAR_N_CITATION = (
    'J. Wei, Z. Zhu, H. Cheng, T. Liu, G. Niu, Y. Liu, "Learning with Noisy Labels '
    'Revisited: A Study Using Real-World Human Annotations", ICLR 2022.'
)
_KRIZHEVSKY = (
    'A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical '
    "report, University of Toronto, 2009."
)
CIFAR10_CLASSES = tuple(
    "airplane automobile bird cat deer dog frog horse ship truck".split()
)
CIFAR100_CLASSES = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge
    bus butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud
    cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox
    girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man
    maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
    pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
    road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel
    streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
    trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()
)


def _idx_files(
    bases: tuple[str, ...], hashes: tuple[str, ...], sizes: tuple[int, ...]
) -> tuple[RemoteFile, ...]:
    """Training images and labels, test images and labels."""
    names = (
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    )
    return tuple(
        RemoteFile(name, tuple(base + name for base in bases), f"sha256:{hash}", size)
        for name, hash, size in zip(names, hashes, sizes, strict=True)
    )


IMAGES: dict[str, DataSet] = {
    "cifar10": DataSet(
        title="CIFAR-10",
        function="fetch_cifar10",
        labels="clean",
        rows={"train": 50_000, "test": 10_000},
        n_features=3072,
        n_classes=10,
        licence="none stated",
        citation=_KRIZHEVSKY,
        home_page="https://www.cs.toronto.edu/~kriz/cifar.html",
        files=(
            RemoteFile(
                "cifar-10-python.tar.gz",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
                "sha256:"
                "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
                170_498_071,
            ),
        ),
        folders=("images", "", "data"),
        by_hand="The Python version on the home page; unpacked it is the folder "
        "cifar-10-batches-py, which is read too.",
        target_names=CIFAR10_CLASSES,
    ),
    "cifar100": DataSet(
        title="CIFAR-100",
        function="fetch_cifar100",
        labels="clean",
        rows={"train": 50_000, "test": 10_000},
        n_features=3072,
        n_classes=100,
        licence="none stated",
        citation=_KRIZHEVSKY,
        home_page="https://www.cs.toronto.edu/~kriz/cifar.html",
        files=(
            RemoteFile(
                "cifar-100-python.tar.gz",
                ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
                "sha256:"
                "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
                169_001_437,
            ),
        ),
        folders=("images", "", "data"),
        by_hand="The Python version on the home page; unpacked it is the folder "
        "cifar-100-python, which is read too.",
        target_names=CIFAR100_CLASSES,
    ),
    "cifar10n": DataSet(
        title="CIFAR-10N",
        function="fetch_cifar10n",
        labels="three answers a row",
        rows={"train": 50_000},
        n_features=3072,
        n_classes=10,
        licence="CC BY-NC 4.0",
        citation=_CIFAR_N_CITATION,
        home_page="http://noisylabels.com",
        files=under(
            _CIFAR_N,
            (
                "CIFAR-10_human.pt",
                "873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310",
                2_401_007,
            ),
        ),
        folders=("images", "", "data"),
        by_hand="CIFAR-10_human.pt is in the folder data of the repository "
        "UCSC-REAL/cifar-10-100n, linked at noisylabels.com.",
        target_names=CIFAR10_CLASSES,
    ),
    "cifar100n": DataSet(
        title="CIFAR-100N",
        function="fetch_cifar100n",
        labels="one noisy label a row",
        rows={"train": 50_000},
        n_features=3072,
        n_classes=100,
        licence="CC BY-NC 4.0",
        citation=_CIFAR_N_CITATION,
        home_page="http://noisylabels.com",
        files=under(
            _CIFAR_N,
            (
                "CIFAR-100_human.pt",
                "bd2d80409754d420292d622e15e25248ba21e37d27429efac49c8da723f44394",
                1_000_959,
            ),
        ),
        folders=("images", "", "data"),
        by_hand="CIFAR-100_human.pt is in the folder data of the repository "
        "UCSC-REAL/cifar-10-100n, linked at noisylabels.com.",
        target_names=CIFAR100_CLASSES,
    ),
    "cifar10h": DataSet(
        title="CIFAR-10H",
        function="fetch_cifar10h",
        labels="about 51 answers a row",
        rows={"test": 10_000},
        n_features=3072,
        n_classes=10,
        licence="CC BY-NC-SA 4.0",
        citation='J. C. Peterson, R. M. Battleday, T. L. Griffiths, O. Russakovsky, "'
        'Human Uncertainty Makes Classification More Robust", ICCV 2019.',
        home_page="https://github.com/jcpeterson/cifar-10h",
        files=under(
            f"{GITHUB}/jcpeterson/cifar-10h/"
            "48da312b193b82e6939ec20f23d1f09cbdd849c8/data",
            (
                "cifar10h-counts.npy",
                "9b36b4550349af56c79083356312eb4af856cc5fd3caf1f669d40b9d0bbb69ff",
                800_128,
            ),
        ),
        folders=("images", "", "data"),
        by_hand="cifar10h-counts.npy is in the folder data of the home page.",
        target_names=CIFAR10_CLASSES,
    ),
    "plcifar10": DataSet(
        title="PLCIFAR10",
        function="fetch_plcifar10",
        labels="about ten candidate sets a row",
        rows={"train": 50_000},
        n_features=3072,
        n_classes=10,
        licence="academic purpose only (its authors)",
        citation="W. Wang, D.-D. Wu, J. Wang, G. Niu, M.-L. Zhang, M. Sugiyama, "
        '"Realistic Evaluation of Deep Partial-Label Learning Algorithms", ICLR 2025.',
        home_page="https://github.com/wwangwitsel/PLCIFAR10",
        files=(
            RemoteFile(
                "plcifar10.pkl",
                (
                    f"{GITHUB}/wwangwitsel/PLCIFAR10/"
                    "8d9eca05917babc6946d94c90df4c9ae804abe83/plcifar10.pkl",
                ),
                "git:fbe58701646851fc3b63375d6d6e069ab71a1bad",
            ),
        ),
        folders=("images", "", "data", "plcifar10"),
        by_hand="plcifar10.pkl is at the home page.",
        target_names=CIFAR10_CLASSES,
    ),
    "fashion_mnist": DataSet(
        title="Fashion-MNIST",
        function="fetch_fashion_mnist",
        labels="clean",
        rows={"train": 60_000, "test": 10_000},
        n_features=784,
        n_classes=10,
        licence="MIT",
        citation='H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset'
        ' for Benchmarking Machine Learning Algorithms", arXiv:1708.07747, 2017.',
        home_page="https://github.com/zalandoresearch/fashion-mnist",
        files=_idx_files(
            (
                f"{GITHUB}/zalandoresearch/fashion-mnist/"
                "b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/",
            ),
            (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
            (26_421_880, 29_515, 4_422_102, 5_148),
        ),
        folders=("images/fashion-mnist", "fashion-mnist", "FashionMNIST/raw"),
        by_hand="The four files are in the folder data/fashion of the home page.",
        target_names=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ),
    "mnist": DataSet(
        title="MNIST",
        function="fetch_mnist",
        labels="clean",
        rows={"train": 60_000, "test": 10_000},
        n_features=784,
        n_classes=10,
        licence="CC BY-SA 3.0, as usually stated",
        citation='Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning '
        'Applied to Document Recognition", Proceedings of the IEEE 86, 1998.',
        home_page="http://yann.lecun.com/exdb/mnist/",
        files=_idx_files(
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
            (9_912_422, 28_881, 1_648_877, 4_542),
        ),
        folders=("images/mnist", "mnist", "MNIST/raw"),
        by_hand="The home page no longer offers the files; torchvision's copy of MNIST "
        "holds the same four in MNIST/raw.",
        target_names=tuple("0123456789"),
    ),
}
