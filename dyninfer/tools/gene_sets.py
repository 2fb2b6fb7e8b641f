"""Genes whose expression tells of division and of death, by their current human symbols.

Cell cycle: the genes of S phase and of G2 and M phase of Tirosh et al. 2016 (Science 352, 189), as
single-cell packages use them. Death: those members of the set HALLMARK_APOPTOSIS (Liberzon et al.
2015, Cell Systems 1, 417) that start or carry out apoptosis; the whole set also holds genes of
stress, of survival and of the cell cycle itself.
"""

from __future__ import annotations

from collections.abc import Iterable

_S_PHASE = """
ATAD2 BLM BRIP1 CASP8AP2 CCNE2 CDC45 CDC6 CDCA7 CENPU CHAF1B CLSPN DSCC1 DTL E2F8 EXO1 FEN1 GINS2
GMNN HELLS MCM2 MCM4 MCM5 MCM6 MSH2 NASP PCNA POLA1 POLD3 PRIM1 RAD51 RAD51AP1 RFC2 RPA2 RRM1 RRM2
SLBP TIPIN TYMS UBR7 UHRF1 UNG USP1 WDR76
"""
_G2M_PHASE = """
ANLN ANP32E AURKA AURKB BIRC5 BUB1 CBX5 CCNB2 CDC20 CDC25C CDCA2 CDCA3 CDCA8 CDK1 CENPA CENPE CENPF
CKAP2 CKAP2L CKAP5 CKS1B CKS2 CTCF DLGAP5 ECT2 G2E3 GAS2L3 GTSE1 HJURP HMGB2 HMMR JPT1 KIF11 KIF20B
KIF23 KIF2C LBR MKI67 NCAPD2 NDC80 NEK2 NUF2 NUSAP1 PIMREG PSRC1 RANGAP1 SMC4 TACC3 TMPO TOP2A TPX2
TTK TUBB4B UBE2C
"""
_APOPTOSIS = """
AIFM3 BAX BCL2L11 BID BIK BMF BNIP3L BTG2 CASP1 CASP2 CASP3 CASP4 CASP6 CASP7 CASP8 CASP9 CYLD DAP
DAP3 DDIT3 DFFA DIABLO FAS FASLG FDXR GADD45A GADD45B PDCD4 PMAIP1 TNFRSF12A TNFSF10
"""

S_PHASE = tuple(_S_PHASE.split())
G2M_PHASE = tuple(_G2M_PHASE.split())
PROLIFERATION = S_PHASE + G2M_PHASE
APOPTOSIS = tuple(_APOPTOSIS.split())

# Symbols that older annotations have in place of the current ones.
FORMER = {"CENPU": "MLF1IP", "JPT1": "HN1", "PIMREG": "FAM64A"}

ORGANISMS = ("human", "mouse")


def symbols_in(genes: Iterable[str], organism: str) -> list[str]:
    """Symbols of human genes in an organism: those of mice have one capital letter."""
    if organism == "mouse":
        return [gene.capitalize() for gene in genes]
    return list(genes)
