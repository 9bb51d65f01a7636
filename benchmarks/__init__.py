"""Measurements of sklabeldiff: ``python -m benchmarks SUITE|show|speed``.

suites           the tables: accuracy, ablation, noisy, noisy-ablation, issues, images,
                 semi, entangled, entangled-images, entangled-cifar
frame            what a suite, a method and a split are
cells            sets with candidates, real and made, and their folds
noisy_cells      sets with wrong labels, real and made
image_cells      features of images with labels of every form; `image_features` encodes
                 those of Fashion-MNIST, once
methods          what is compared on candidate sets; `controls` holds the parts of DDMP
                 on their own
noisy_methods    what is compared on wrong labels; `peers` holds the methods of others
image_methods    what is compared on images, from both of these
measures         what is measured on a split
sources          which files decide a result
runner           runs every method on every fold, one process a core, and keeps each
                 result
scores           means, ranks and paired differences of results
report           the tables as markdown, and the goals; `noisy_report` those of wrong
                 labels, `image_report` those of images
semi_cells       few labelled rows; `semi_methods`, `semi_report` go with them
entangled_cells  candidates that depend on the row; `entangled_methods`,
                 `entangled_report` go with them; `entangled_cifar` is for a GPU
speed            training loop, memory and fit times against their targets;
                 `image_speed` has its loops on images
generate         what rows drawn from imprecise labels are worth
unet             DMIS on images, in pieces, on a GPU
simclr, encoding features of images: learnt without labels; images a second
"""
