"""Examples below the help of every command of the workbench; a test parses each of them."""

EXAMPLES = {
    "mbseg": ("mbseg simulate sim --participants 2", "mbseg evaluate sim/derivatives/truth OUTPUT_DIR"),
    "mbseg simulate": (
        "mbseg simulate sim --participants 2 --sessions 2 1 --seed 1",
        "mbseg simulate sim4 --participants 4 --lesions 5 20",
    ),
    "mbseg train": ("mbseg train csf patches --init imagenet --out csf",),
    "mbseg train sample": ("mbseg train sample OUTPUT_DIR --labels MASKS --out patches",),
    "mbseg train simulate": ("mbseg train simulate labelmaps/*.nii.gz --out patches",),
    "mbseg train csf": ("mbseg train csf patches --init imagenet --out csf",),
    "mbseg train microbleed": (
        "mbseg train microbleed patches --init csf/csf.safetensors --out mine",
        "mbseg train microbleed patches --init shipped --out finer",
    ),
    "mbseg study": ("mbseg study run patches --init csf/csf.safetensors --out study", "mbseg study collect study"),
    "mbseg study run": ("mbseg study run patches --init csf/csf.safetensors --out study --shard 1/4",),
    "mbseg study collect": ("mbseg study collect study",),
    "mbseg weights": ("mbseg weights list",),
    "mbseg weights list": ("mbseg weights list",),
    "mbseg weights verify": ("mbseg weights verify mine/microbleed.safetensors --self-test",),
    "mbseg plant": (
        "mbseg plant OUTPUT_DIR --lesions 20 --repetitions 5",
        "mbseg plant OUTPUT_DIR --participant-label 01 --sizes cohort --out planted",
    ),
    "mbseg visits": ("mbseg visits OUTPUT_DIR", "mbseg visits OUTPUT_DIR --against first --anti-amyloid 01"),
    "mbseg evaluate": (
        "mbseg evaluate TRUTH RESULT --out scores",
        "mbseg evaluate sweep TRUTH RESULT --out scores",
    ),
    "mbseg evaluate trees": ("mbseg evaluate TRUTH RESULT --out scores --markdown scores.md",),
    "mbseg evaluate worlds": ("mbseg evaluate worlds thin=TRUTH1,RESULT1 thick=TRUTH2,RESULT2 --out scores",),
    "mbseg evaluate patches": ("mbseg evaluate patches patches --weights default --out scores",),
    "mbseg evaluate sweep": ("mbseg evaluate sweep TRUTH RESULT --out scores",),
    "mbseg evaluate calibration": ("mbseg evaluate calibration TRUTH RESULT --out scores",),
    "mbseg evaluate agreement": ("mbseg evaluate agreement READER1 READER2 --out scores",),
    "mbseg baseline": ("mbseg baseline evaluate test --unet unet32.safetensors --resnet default --out results",),
    "mbseg baseline sample": ("mbseg baseline sample labelmaps/*.nii.gz --out training --scans 4",),
    "mbseg baseline train": (
        "mbseg baseline train training --validation validation --task csf --patch-size 256 --out csf",
    ),
    "mbseg baseline evaluate": (
        "mbseg baseline evaluate test --unet unet32.safetensors --strides 1 1/2 --resnet default --out results",
    ),
    "mbseg baseline csf": (
        "mbseg baseline csf test --unet csf/unet-csf-256.safetensors --resnet csf.safetensors --out csf-map",
    ),
    "mbseg baseline report": ("mbseg baseline report results --out report",),
}
"""By command."""
