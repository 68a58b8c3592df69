"""Everything that is to be known about the package, for pip and for the Makefile; it is written nowhere else."""

from pathlib import Path

from setuptools import find_packages, setup

# Inflates the PNGs of flat masks several times as fast as OpenCV's zlib: preprocess_data.py's time is little else.
KORNIA_RS = "kornia-rs>=0.2"

# Reads and writes videos with their times, turn, sound and transparency; OpenCV's own reader knows none of these.
PYAV = "av>=17"

# The page of `faceparse demo`.
GRADIO = "gradio>=6"

# Writes ONNX models and runs them; to run one, the second is enough. Before 1.23 its limit of memory can't be changed.
ONNX = ["onnx>=1.16", "onnxruntime>=1.23"]

# The reference that tests/test_parity.py compares with.
SMP = "segmentation-models-pytorch>=0.5"

setup(
    name="faceparse",
    version="0.1.0",
    description="Masks of faces, hair and portraits out of photos: data preparation, training and use",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["faceparse", "faceparse.*", "hand_generator", "hand_generator.*"]),
        "faceparse.weights",
    ],
    package_dir={"faceparse.weights": "weights"},
    package_data={"faceparse.weights": ["*.safetensors", "README.md"]},
    install_requires=[
        # Each torchvision is built for one torch; these two lower bounds are such a pair, and pip finds the later ones.
        "torch>=2.4,!=2.13.0",
        "torchvision>=0.19",
        "timm>=1.0.22",
        # The headless build is the same library without windows: the other one needs libGL, which a bare machine lacks.
        "opencv-python-headless>=4.8",
        "numpy>=1.26",
        "pillow>=10.1",
        "safetensors>=0.4.3",
        "tensorboard>=2.14",
        "tqdm>=4.64",
    ],
    extras_require={
        "fast": [KORNIA_RS],
        "video": [PYAV],
        "export": ONNX,
        "demo": [GRADIO],
        "fuzz": ["atheris>=3.0"],  # has no wheels for every Python; only tests/fuzz needs it
        "test": [
            "pytest>=8",
            "pytest-cov>=7",
            "pytest-xdist>=3.8",
            "ruff>=0.9",
            "mypy>=1.11",
            "matplotlib>=3.8",  # draws benchmarks/bench_growth.py
            "setuptools>=70.1",
            KORNIA_RS,
            PYAV,
            SMP,
            *ONNX,
        ],
    },
    entry_points={"console_scripts": ["faceparse = faceparse.cli:main"]},
)
