"""Integer labels used in every segmentation this package writes."""

TISSUES: dict[int, str] = {1: "csf", 2: "gm", 3: "wm"}
"""Three-class tissue segmentation."""

CSF, GM, WM = 1, 2, 3

REGIONS: dict[int, str] = {
    1: "cortical_gm",
    2: "deep_gm",
    3: "cerebral_wm",
    4: "cerebellar_gm",
    5: "cerebellar_wm",
    6: "brainstem",
}
"""The five regions of Dadar et al. 2022 and the brainstem, which belongs to none of the five."""

CORTICAL_GM, DEEP_GM, CEREBRAL_WM, CEREBELLAR_GM, CEREBELLAR_WM, BRAINSTEM = 1, 2, 3, 4, 5, 6

GREY_REGIONS = (CORTICAL_GM, DEEP_GM, CEREBELLAR_GM)
"""Regions of grey matter."""
WHITE_REGIONS = (CEREBRAL_WM, CEREBELLAR_WM, BRAINSTEM)
"""Regions of white matter; the brainstem counts among them."""

UNASSIGNED = "unassigned"
"""Name of the region of a lesion that lies in, and near, none of the regions."""
